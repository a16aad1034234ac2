{% if grains['os'] == 'Debian' %}
a: { file.absent: [] }
{% endif %}
