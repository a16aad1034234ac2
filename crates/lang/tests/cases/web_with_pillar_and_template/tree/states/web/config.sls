nginx_dir:
  file.directory:
    - name: /etc/nginx
    - mode: '0755'
