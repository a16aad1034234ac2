#!yaml
hello:
  pkg.installed: []
tools:
  pkg.installed:
    - pkgs:
      - sl
      - keyutils
less:
  pkg.removed: []
tini:
  pkg.removed: []
