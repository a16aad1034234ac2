{%- set tplroot = tpldir.split('/')[0] %}
{%- from tplroot ~ "/map.jinja" import nginx with context %}

nginx-package-install-pkg-installed:
  pkg.installed:
    - name: {{ nginx.pkg.name }}
{%- if nginx.pkg.extra %}

nginx-package-extra:
  pkg.installed:
    - pkgs: {{ nginx.pkg.extra | json }}
    - require:
      - pkg: nginx-package-install-pkg-installed
{%- endif %}
