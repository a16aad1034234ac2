#!yaml
hello:
  pkg.installed: []
tools:
  pkg.installed:
    - pkgs:
      - sl
      - keyutils
    - refresh: False
    - install_recommends: False
less:
  pkg.removed: []
tini:
  pkg.removed: []
lab-tool:
  pkg.installed:
    - version: 1.5-1
lab-held:
  pkg.held: []
lab-latest:
  pkg.latest: []
lab-old:
  pkg.purged: []
versions:
  pkg.installed:
    - pkgs:
      - libnsl2
      - lab-tool: '>=1.0'
