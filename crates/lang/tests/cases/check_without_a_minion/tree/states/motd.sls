motd: { file.absent: { name: /etc/motd } }
