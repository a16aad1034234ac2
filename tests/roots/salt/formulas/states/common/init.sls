{% set motd = salt['pillar.get']('motd') %}
/etc/motd:
  file.managed:
    - contents_pillar: motd
    - user: root
    - mode: 0644

{% for key, value in salt['pillar.get']('sysctl', {})|dictsort %}
{{ key }}:
  sysctl.present:
    - value: {{ value }}
    - config: /etc/sysctl.d/90-salt.conf
{% endfor %}

{%- set pkgs = {
    'Debian': ['less', 'sl'],
    'RedHat': ['less', 'sl', 'epel-release'],
}.get(grains['os_family'], []) %}
common-packages:
  pkg.installed:
    - pkgs:
{%- for p in pkgs %}
      - {{ p }}
{%- endfor %}

{% set ips = grains.get('ipv4', []) | reject('equalto', '127.0.0.1') | list %}
/etc/facts:
  file.managed:
    - contents: |
        id={{ grains['id'] }}
        os={{ grains.os }} {{ grains.osmajorrelease }}
        fam={{ grains['os_family']|lower }}
        sls={{ sls }} slspath={{ slspath }} tpldir={{ tpldir }} tplfile={{ tplfile }}
        fqdn={{ grains['host'] }}
        has_users={{ 'users' in pillar }}
        md5={{ 'abc' | md5 }} sha={{ 'abc' | sha256 }}
        b64={{ 'abc' | base64_encode }} {{ salt['hashutil.base64_b64encode']('abc') }}
        yaml={{ {'a': [1, true, none], 'b': 'x'} | yaml }}
        json={{ {'a': [1, true, none], 'b': 'x'} | json }}
        title={{ 'hello world' | title }} {{ '%s-%02d' | format('x', 3) }} {{ "{0}-{1}".format('a', 2) }}
        list={{ [3, 1, 2] | sort | join(',') }} {{ range(3) | list }} {{ 'a,b'.split(',') }}
        regex={{ 'web01' | regex_match('([a-z]+)([0-9]+)') }} {{ 'a.b' | regex_replace('\.', '-') }}
        quote={{ "it's" | quote }} {{ 'yes' | to_bool }}
