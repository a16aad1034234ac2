#!yaml
/usr/bin/goes:
  cron.absent: []
never there:
  cron.absent:
    - name: /usr/bin/never
altered:
  cron.present:
    - name: /usr/bin/after
    - identifier: of-salt
    - minute: 2
switched off:
  cron.present:
    - name: /usr/bin/off
    - commented: True
    - hour: 4
MAILTO:
  cron.env_present:
    - value: admin
PATH:
  cron.env_present:
    - value: /usr/bin:/bin
    - user: daemon
OLD:
  cron.env_absent:
    - user: daemon
