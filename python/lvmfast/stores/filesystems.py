"""fsspec's file systems, one for each kind of store, set up for reads whose retries are counted here."""

from __future__ import annotations

import threading
from typing import Any

from lvmfast.errors import DataError
from lvmfast.stores.uris import scheme_of

#: Requests in flight at once, at most.
CONNECTIONS = 32

_EXTRAS = {
    "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "az": "az", "abfs": "az", "abfss": "az", "adl": "az",
    "hf": "hf",
}  # fmt: skip
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "hf": "huggingface_hub"}
_lock = threading.Lock()


def filesystem(uri: str) -> tuple[Any, str]:
    """The file system of a URI, and the URI as that file system names it.

    Credentials, endpoints and other settings are found by the store's own customs (environment, files,
    the machine's role, fsspec's configuration).

    Raises:
        DataError: no such kind of store, its package is not installed, or its settings are broken.
    """
    from fsspec.core import url_to_fs

    scheme = str(scheme_of(uri))
    extra = _EXTRAS.get(scheme)
    try:
        with _lock:  # two threads would each make one, and fsspec keeps one
            fs, path = url_to_fs(uri, **_settings(scheme, extra))
    except ImportError as error:
        if extra:
            raise DataError(
                f"{uri}: {scheme}:// needs {_PACKAGES[extra]}: pip install 'lvmfast[{extra}]'"
            ) from error
        raise DataError(f"{uri}: {scheme}:// cannot be opened: {_said(error)}") from error
    except (ValueError, OSError) as error:
        raise DataError(f"{uri}: {_said(error)}") from error
    except Exception as error:  # a file system that wants arguments, of which a URI has none
        raise DataError(f"{uri}: {scheme}:// cannot be opened: {_said(error)}") from error
    if extra == "s3":
        fs.retries = 1
    return fs, str(path)


def forget_listings(fs: Any) -> None:
    """Has a file system ask again: that of the Hugging Face hub remembers listings, whatever it is told."""
    if _is_hub(fs):
        fs.invalidate_cache()


def info_now(fs: Any, inner: str) -> dict[str, Any]:
    """What the store says of an object now."""
    # Without expand_info, that of the hub leaves out what tells versions apart.
    entry: dict[str, Any] = fs.info(inner, **({"refresh": True, "expand_info": True} if _is_hub(fs) else {}))
    return entry


def _is_hub(fs: Any) -> bool:
    return "hf" in fs.protocol


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _settings(scheme: str, extra: str | None) -> dict[str, Any]:
    # A listing is never taken from memory: an object that was replaced must be seen.
    settings: dict[str, Any] = {"use_listings_cache": False}
    if extra == "s3":
        from fsspec.config import conf

        given = conf.get(scheme, {}).get("config_kwargs", {})
        # Three layers would try again, each as often as the one below: one does, `failures.with_retries`.
        ours = {
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            "connect_timeout": 10,
            "read_timeout": 60,
            "max_pool_connections": CONNECTIONS,
        }
        settings["config_kwargs"] = {**ours, **given}
    return settings
