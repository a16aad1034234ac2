{% from "users/map.jinja" import users with context %}

users_sudo-package:
  pkg.installed:
    - name: {{ users.sudo_package }}
    - require_in:
      - file: users_{{ users.sudoers_dir }}

users_{{ users.sudoers_dir }}:
  file.directory:
    - name: {{ users.sudoers_dir }}
