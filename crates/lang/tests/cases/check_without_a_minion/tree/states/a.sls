a:
  file.managed:
    - name: /etc/{{grains.host}}
    - contents: '{{pillar.x.y}}'
    - mode: {{pillar.mode}}
    - makdirs: true
{{#if (eq grains.os "x")}}
{{/if}}
