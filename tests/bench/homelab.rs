//! A homelab's tree as Salt's users write them, to be compiled: roles, a `map.jinja`, macros, loops over pillar.

use std::{fmt::Write as _, fs, path::Path};

/// A state file and a pillar file for each.
pub(crate) const ROLES: [&str; 24] = [
    "agent",
    "backup",
    "books",
    "ci",
    "cloud",
    "dashboard",
    "desktop",
    "dns",
    "docker",
    "firewall",
    "git",
    "irc",
    "kubernetes",
    "mail",
    "media",
    "metrics",
    "mirror",
    "nas",
    "proxy",
    "router",
    "shell",
    "vault",
    "web",
    "wiki",
];

/// Settings by family, then the pillar's.
const MAP: &str = "\
{%- set defaults = {'conf_dir': '/etc', 'user': 'root', 'port': 8000} %}
{%- set settings = salt['grains.filter_by']({
    'Debian': {'group': 'www-data', 'packages': ['curl', 'less'], 'service': 'cron'},
    'Arch': {'group': 'http', 'packages': ['curl'], 'service': 'cronie'},
}, merge=salt['pillar.get']('site', {}), default='Debian', base=none) %}
{%- do defaults.update(settings) %}
{%- macro conf(role, number, user='root') -%}
{{ role }}-conf-{{ number }}:
  file.managed:
    - name: {{ defaults.conf_dir }}/{{ role }}/{{ number }}.conf
    - source: salt://files/role.conf
    - template: jinja
    - user: {{ user }}
    - mode: '0640'
    - makedirs: True
    - context:
        role: {{ role }}
        number: {{ number }}
{%- endmacro %}
";

const CORE: &str = "\
{%- from 'map.jinja' import defaults with context %}
core packages:
  pkg.installed:
    - pkgs: {{ defaults.packages | tojson }}
{% for name, user in salt['pillar.get']('users', {}).items() %}
{{ name }}:
  user.present:
    - shell: {{ user.get('shell', '/bin/bash') }}
    - groups: {{ user.groups | default([]) | tojson }}
/home/{{ name }}/.profile:
  file.managed:
    - contents: |
        # {{ user.fullname | upper }} on {{ grains['host'] }}
        export EDITOR={{ user.editor | default('vi') }}
    - user: {{ name }}
    - require:
      - user: {{ name }}
{% endfor %}
/etc/motd:
  file.managed:
    - contents: '{{ grains.host }} has {{ grains.mem_total }} MiB and is a {{ grains.role }}'
{% if grains['os_family'] == 'Debian' %}
net.ipv4.ip_forward:
  sysctl.present:
    - value: 1
{% endif %}
";

/// What each role has, but for its name.
const ROLE: &str = "\
{%- from 'map.jinja' import defaults, conf with context %}
include:
  - core

@-packages:
  pkg.installed:
    - pkgs: [nginx, git]
    - require:
      - pkg: core packages
{% for number in range(4) %}
{{ conf('@', number) }}
    - require:
      - pkg: @-packages
{% endfor %}
/srv/@:
  file.directory:
    - user: {{ defaults.user }}
    - makedirs: True
/etc/systemd/system/lab-@.service:
  file.managed:
    - contents: |
        [Service]
        ExecStart=/usr/bin/lab-@ --port {{ salt['pillar.get']('@:port', defaults.port) }}
lab-@:
  service.running:
    - enable: True
    - watch:
      - file: /etc/systemd/system/lab-@.service
{%- for number in range(4) %}
      - file: @-conf-{{ number }}
{%- endfor %}
lab-@ --renew:
  cmd.run:
    - onchanges:
      - file: /srv/@
{%- if salt['grains.get']('role') == '@' %}
/usr/bin/lab-@ --nightly:
  cron.present:
    - identifier: '@'
    - hour: 3
    - minute: {{ salt['pillar.get']('@:minute', 30) }}
{%- endif %}
";

const CONF: &str = "\
# {{ role }} {{ number }} on {{ grains.host }}
{% for name, value in salt['pillar.get'](role ~ ':settings', {}).items() -%}
{{ name }} = {{ value }}
{% endfor -%}
";

/// Writes it.
pub(crate) fn write(folder: &Path) {
    let put = |path: &str, text: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("it is below")).expect("the folder is ours");
        fs::write(path, text).expect("the folder is ours");
    };
    let mut states = "base:\n  '*':\n    - core\n".to_owned();
    let mut pillar = "base:\n  '*':\n    - site\n".to_owned();
    for role in ROLES {
        let _ = writeln!(states, "  'role:{role}':\n    - match: grain\n    - {role}");
        let _ = writeln!(pillar, "    - {role}");
        put(&format!("states/{role}.sls"), &ROLE.replace('@', role));
        let settings: Vec<String> = (0..8).map(|it| format!("    key{it}: value {it}\n")).collect();
        let settings = settings.concat();
        put(&format!("pillar/{role}.sls"), &format!("{role}:\n  port: 8080\n  settings:\n{settings}"));
    }
    put("states/top.sls", &states);
    put("states/map.jinja", MAP);
    put("states/core.sls", CORE);
    put("states/files/role.conf", CONF);
    put("pillar/top.sls", &pillar);
    let mut site = "site: {port: 9000}\nusers:\n".to_owned();
    for name in ["ada", "grace", "edsger", "barbara"] {
        let _ = write!(site, "  {name}:\n    fullname: {name}\n    groups: [adm]\n");
    }
    put("pillar/site.sls", &site);
}
