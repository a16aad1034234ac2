#!yaml
/srv/without/its/folder:
  file.managed:
    - contents: never
/srv/refused:
  file.managed:
    - contents: bad
    - check_cmd: grep -q good
/srv/in-the-way:
  file.directory: []
/srv/nowhere/link:
  file.symlink:
    - target: x
of-no-group:
  user.present:
    - groups:
      - not-there
unknown-package-of-nobody:
  pkg.installed: []
lab-of-nobody:
  service.running: []
it fails:
  cmd.run:
    - name: exit 3
checked:
  cmd.run:
    - name: echo x > /srv/out/checked
    - check_cmd:
      - test -e /srv/out/of-nobody
