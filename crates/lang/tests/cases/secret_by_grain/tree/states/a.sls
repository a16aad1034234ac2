a: { file.absent: { name: /a } }
