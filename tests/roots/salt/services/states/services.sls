#!yaml
lab-one:
  service.running:
    - enable: True
lab-two:
  service.dead:
    - enable: False
lab-three:
  service.disabled: []
lab-four:
  service.enabled: []
lab-five:
  service.running: []
/etc/systemd/system/lab-six.service:
  file.managed:
    - contents: |
        [Service]
        ExecStart=/bin/sleep infinity
        [Install]
        WantedBy=multi-user.target
lab-six:
  service.running:
    - enable: True
    - watch:
      - file: /etc/systemd/system/lab-six.service
lab-seven:
  service.masked: []
lab-eight:
  service.unmasked: []
lab-five is reloaded:
  service.running:
    - name: lab-five
    - reload: True
    - watch:
      - file: /srv/config
/srv/config:
  file.managed:
    - contents: new
lab-nine:
  service.dead: []
