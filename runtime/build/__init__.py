"""Images from Dockerfiles.

    dockerfile words patterns ignore     text: what a Dockerfile and a .dockerignore say; they know no files
    trees contexts                       what COPY reads: a context, a stage or an image, always as a union's verbs do
    selecting sources                    what COPY and ADD select of that
    copying running                      the two ways to a layer: an archive written straight, or a container's upper
    cache                                which step made which layer
    stages settings steps build          the order of it all, and the image's configuration
"""
