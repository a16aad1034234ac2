include:
  - base
  - .config
{{#each pillar.web.sites}}
site_{{@key}}:
  file.managed:
    - name: /etc/nginx/conf.d/{{@key}}.conf
    - source: lab://web/files/site.conf.hbs
    - template: handlebars
    - context:
        site: {{@key}}
        port: {{this.port}}
    - require:
        - file: nginx_dir
{{/each}}
