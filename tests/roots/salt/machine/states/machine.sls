#!yaml
host-1:
  host.present:
    - ip: 10.0.0.2
    - names:
      - one
      - one.lab
several addresses:
  host.present:
    - name: there
    - ip:
      - 10.0.0.1
      - 10.0.0.3
goes:
  host.absent:
    - ip: 10.0.0.9
10.0.0.8:
  host.only:
    - hostnames:
      - eight
      - eight.lab
net.ipv4.ip_forward:
  sysctl.present:
    - value: 1
    - config: /etc/sysctl.d/60-lab.conf
net.ipv4.conf.all.rp_filter:
  sysctl.present:
    - value: 2
    - config: /etc/sysctl.d/60-lab.conf
/srv/mnt:
  mount.mounted:
    - device: tmpfs
    - fstype: tmpfs
    - opts: size=1m,nodev
    - dump: 0
    - pass_num: 0
    - mkmnt: True
/srv/gone:
  mount.fstab_absent:
    - fs_file: /srv/gone
    - name: LABEL=x
nas:/volume:
  mount.fstab_present:
    - fs_file: /srv/nas
    - fs_vfstype: nfs
    - fs_mntops: ro,noauto
/srv/kept:
  mount.unmounted:
    - device: tmpfs
    - persist: True
Europe/Amsterdam:
  timezone.system:
    - utc: True
