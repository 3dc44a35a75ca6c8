"""Loads users' parts by reference: `my_file.py:thing` or `package.module:thing`.

A file runs once, and the sources of its modules are stored at that time. The files of one folder
form a room: they can import each other, and no other module can import them by accident. An error
inside a user's file is reported as one sentence with the file and the line.
"""

from attnscape.loading._fields import Words as Words
from attnscape.loading._fields import read_fields as read_fields
from attnscape.loading._fields import split_fields as split_fields
from attnscape.loading._origins import is_installed as is_installed
from attnscape.loading._origins import is_installed_file as is_installed_file
from attnscape.loading._origins import known_as as known_as
from attnscape.loading._origins import name_of as name_of
from attnscape.loading._origins import source_of as source_of
from attnscape.loading._references import is_reference as is_reference
from attnscape.loading._references import load_object as load_object
from attnscape.loading._references import reference_of as reference_of
from attnscape.loading._sources import brought_in as brought_in
from attnscape.loading._user_errors import format_user_error as format_user_error
from attnscape.loading._user_errors import user_errors as user_errors
