"""Settings of a run. A config outside the package declares one of its own by `register`, before it
builds itself:

    register("weak", Setting("loss.mine", 0.1, AMOUNT, since="0.2").means("Weight of my loss."))
"""

from gfvad.settings.declared import AMOUNT as AMOUNT
from gfvad.settings.declared import COUNT as COUNT
from gfvad.settings.declared import SHARE as SHARE
from gfvad.settings.declared import WIDTH as WIDTH
from gfvad.settings.declared import Range as Range
from gfvad.settings.declared import Setting as Setting
from gfvad.settings.kinds import register as register
