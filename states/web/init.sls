# nginx with one site, rendered from grains and pillar.
nginx:
  pkg.installed:
    name: {{ pillar.web.package }}

web_root:
  file.directory:
    name: {{ pillar.web.root }}
    mode: '0755'
    makedirs: true

web_page:
  file.managed:
    name: {{ pillar.web.root }}/index.html
    source: lab://web/files/index.html
    template: handlebars
    mode: '0644'
    require:
      - file: web_root

web_status_password:
  file.managed:
    name: /etc/nginx/lab.htpasswd
    contents: |
      status:{PLAIN}{{ pillar.web.status_password }}
    user: root
    group: www-data
    mode: '0640'
    makedirs: true
    require:
      - pkg: nginx

web_site:
  file.managed:
    name: /etc/nginx/sites-available/lab
    source: lab://web/files/site.conf
    template: handlebars
    mode: '0644'
    makedirs: true
    require:
      - pkg: nginx
      - file: web_status_password

web_site_enabled:
  file.symlink:
    name: /etc/nginx/sites-enabled/lab
    target: /etc/nginx/sites-available/lab
    makedirs: true
    require:
      - file: web_site

web_default_site:
  file.absent:
    name: /etc/nginx/sites-enabled/default
    require:
      - pkg: nginx

# A sandbox has no nginx that could be asked.
web_check:
  cmd.run:
    name: nginx -t
    unless: test "$LABCTL_SANDBOX" = 1
    onchanges:
      - file: web_site
      - file: web_site_enabled
      - file: web_default_site

nginx_running:
  service.running:
    name: nginx
    enable: true
    reload: true
    require:
      - cmd: web_check
    watch:
      - file: web_site
      - file: web_site_enabled
      - file: web_default_site
