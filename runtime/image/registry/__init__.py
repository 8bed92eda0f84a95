"""The distribution protocol: pulling images from registries and pushing them there.

    challenge, scope     what a registry asks for (pure)
    credentials, helper  who we are: our own login file, Docker's, Podman's, and the programs they name
    authority            Authorization for a request: basic, or a token fetched and kept
    configuration        registries.conf: mirrors, insecure and blocked registries, aliases
    trust, transport     TLS, connections, redirects, retries
    repository           one repository at one address: manifests, blobs, uploads
    download, pull       into the store
    upload, push         out of it
    progress             what the person at the terminal sees meanwhile

urllib3 carries the bytes; redirects, retries and authorization are our own, because they are where credentials leak.
"""
