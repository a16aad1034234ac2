a:
  file.managed:
    - name: /etc/a
    - contents: |
        {{grains.oss}} {{pillar.web.prot}}
        {{upper nmae}}
        {{uper id}}
{{#each pillar.web}}{{this}}{{/each}}
