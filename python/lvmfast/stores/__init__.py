"""Objects in stores and local files, by one set of names: what is read, and where reports and records go."""

from lvmfast.stores.folders import Folder, folder
from lvmfast.stores.objects import FileInfo, file_info, open_input
from lvmfast.stores.uris import is_uri, local_path

__all__ = ["FileInfo", "Folder", "file_info", "folder", "is_uri", "local_path", "open_input"]
