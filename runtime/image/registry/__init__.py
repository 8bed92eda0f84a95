"""The distribution protocol: pulling images from registries and pushing them there.

    challenge            what a registry asks for, and scopes of tokens (pure)
    credentials, helper  who we are: our own login file, Docker's, Podman's, and the programs they name
    authority            Authorization for a request: basic, or a token fetched and kept
    configuration        registries.conf: mirrors, insecure and blocked registries, aliases
    trust, transport     TLS, connections, redirects, retries
    answer               a response, read piece by piece
    repository           one repository at one address: manifests, blobs, uploads
    download, pull       into the store
    upload, push         out of it
    crew                 the threads of a pull or a push
    registries           all of this together, for the verbs
    progress             what the person at the terminal sees meanwhile

urllib3 carries the bytes; redirects, retries and authorization are our own, because they are where credentials leak.
"""
