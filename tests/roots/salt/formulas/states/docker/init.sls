{%- from tpldir ~ "/map.jinja" import docker with context %}
{% set name = docker.pkg.name if docker.pkg.get('version') == None else docker.pkg.name ~ '=' ~ docker.pkg.version %}

{%- if docker.process_signature is defined %}
include:
  - .nothing
{%- endif %}

/etc/docker/daemon.json:
  file.serialize:
    - dataset: {{ docker.daemon_config | json }}
    - formatter: json
    - makedirs: True
    - mode: 644

docker-conf:
  file.managed:
    - name: /etc/default/docker
    - contents: |
        {%- for opt in docker.daemon_opts %}
        DOCKER_OPTS="{{ opt }}"
        {%- endfor %}
    - makedirs: true
