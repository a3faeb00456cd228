"""Whether runs can be uploaded from here."""

from functools import cache


@cache
def has_login() -> bool:
    """Return whether W&B has credentials for its server: from the environment, its settings or a .netrc file.

    Asks nobody and does not contact the server.
    """
    import wandb
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib import wbauth

    try:
        # `wandb.login` would contact the server.
        auth = wbauth.authenticate_session(
            host=wandb.setup().settings.base_url, source="ablate", prompt=False, update_session=False
        )
    except AuthenticationError:
        return False
    return auth is not None
