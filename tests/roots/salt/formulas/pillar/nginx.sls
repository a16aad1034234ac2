nginx:
  settings:
    http:
      sendfile: "on"
      include:
        - /etc/nginx/mime.types
        - /etc/nginx/conf.d/*.conf
        - /etc/nginx/sites-enabled/*
  sites:
    blog.example:
      names: [blog.example, www.blog.example]
      locations:
        /: [root /srv/blog, index index.html]
        /api: [proxy_pass http://127.0.0.1:8000]
    old.example:
      enabled: false
