#!yaml
/usr/bin/nightly:
  cron.present:
    - user: root
    - minute: 30
    - hour: 3
    - comment: by the night
/usr/bin/known:
  cron.present:
    - minute: 8
    - hour: 7
named:
  cron.present:
    - name: /usr/bin/with-name
    - identifier: the-job
    - special: '@daily'
/usr/bin/of-daemon:
  cron.present:
    - user: daemon
    - dayweek: 1-5
