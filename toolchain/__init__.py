"""Gets Pulumi, its plugins, the Docker engine and the images onto a machine: present, downloaded, or built."""
