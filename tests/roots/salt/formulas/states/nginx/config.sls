{#- Get the `tplroot` from `tpldir` #}
{%- set tplroot = tpldir.split('/')[0] %}
{%- set sls_package_install = tplroot ~ '.package' %}
{%- from tplroot ~ "/map.jinja" import nginx with context %}
{%- from tplroot ~ "/libtofs.jinja" import files_switch with context %}

include:
  - {{ sls_package_install }}

nginx-config-file-file-managed:
  file.managed:
    - name: {{ nginx.config }}
    - source: {{ files_switch(['nginx.conf.jinja'],
                              lookup='nginx-config-file-file-managed'
                 )
              }}
    - mode: 644
    - user: root
    - group: {{ nginx.rootgroup }}
    - makedirs: True
    - template: jinja
    - require:
      - sls: {{ sls_package_install }}
    - context:
        nginx: {{ nginx | json }}
{%- for site, settings in nginx.sites | dictsort %}

nginx-site-{{ site }}:
  file.managed:
    - name: {{ nginx.conf_dir }}/sites-available/{{ site }}
    - source: salt://{{ tplroot }}/files/site.jinja
    - template: jinja
    - context:
        config: {{ settings | json(sort_keys=False) }}
        site: {{ site }}
    - makedirs: True

nginx-site-{{ site }}-enabled:
  file.{{ 'symlink' if settings.get('enabled', True) else 'absent' }}:
    - name: {{ nginx.conf_dir }}/sites-enabled/{{ site }}
    {%- if settings.get('enabled', True) %}
    - target: {{ nginx.conf_dir }}/sites-available/{{ site }}
    - makedirs: true
    {%- endif %}
    - require:
      - file: nginx-site-{{ site }}
{%- endfor %}
