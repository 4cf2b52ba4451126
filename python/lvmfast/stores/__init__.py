"""Objects in stores and local files, by one set of names: what is read, and where reports and records go."""

from lvmfast.stores.folders import Folder, folder
from lvmfast.stores.identity import Identity
from lvmfast.stores.listing import matching, object_or_folder, objects_under, same_place
from lvmfast.stores.locks import holding, holds
from lvmfast.stores.objects import FileInfo, Source, StoredObject, as_source, file_info, open_input
from lvmfast.stores.staging import Staging, check_room, local_copies, local_copy, staging, telling_of
from lvmfast.stores.uris import is_uri, joined, local_path

__all__ = [
    "FileInfo",
    "Folder",
    "Identity",
    "Source",
    "Staging",
    "StoredObject",
    "as_source",
    "check_room",
    "file_info",
    "folder",
    "holding",
    "holds",
    "is_uri",
    "joined",
    "local_copies",
    "local_copy",
    "local_path",
    "matching",
    "object_or_folder",
    "objects_under",
    "open_input",
    "same_place",
    "staging",
    "telling_of",
]
