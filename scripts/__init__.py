"""What `scripts/demo`, `scripts/test` and their siblings run; the executables only set up and start these."""

import sys

if sys.version_info < (3, 11):
    sys.exit("Sealmarket needs Python 3.11 or newer; this is %d.%d (%s)" % (*sys.version_info[:2], sys.executable))
