"""Words that are written with a period: which of them end a sentence, and before what."""

from __future__ import annotations

from enum import Enum


class Abbreviation(Enum):
    """What a period after an abbreviation means."""

    OPEN = "never ends a sentence"
    NAME = "ends a sentence only before a word that opens one"
    UNIT = "ends a sentence only before a capital letter"
    MEASURE = "a unit, but only after a number"
    NUMBERED = "does not end a sentence before a number"
    DATE = "a month or weekday, with a capital letter: a unit"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OPEN = (
    "mr mrs ms mx dr prof st mt sgt capt cpt gen lt col maj cmdr rev hon gov sen rep pres fr vs e.g i.e viz approx cf"
    " eq eqs ca bzw aprox w.r.t s.t a.k.a z.b d.h u.a u.ä v.a z.t z.z i.d.r ggf evtl vgl bzgl sog inkl exkl zzgl abzgl"
)
_NAME = "sr sra"
_UNIT = (
    "a.m p.m oz lb lbs ft yd yds hr hrs mins sec secs mph kph rpm etc jr inc ltd co corp dept est avg tsp tbsp pt qt"
    " gal km cm mm kg mg ml wk wks mos yr yrs doz pcs sq cu ave blvd rd bros al resp incl excl usw max temp qty pkg"
    " u.s u.k u.n usf mwst"
)
_MEASURE = "in m g l s h d c f k v w min mi ct mo wt std"
_NUMBERED = "no nos nr pp p vol ch sec art ex fig figs prob thm q apt rm ver par abb mind"
_DATE = "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun"

KINDS: dict[str, Abbreviation] = {
    word: kind
    for kind, words in (
        (Abbreviation.OPEN, _OPEN),
        (Abbreviation.NAME, _NAME),
        (Abbreviation.UNIT, _UNIT),
        (Abbreviation.MEASURE, _MEASURE),
        (Abbreviation.DATE, _DATE),
        (Abbreviation.NUMBERED, _NUMBERED),
    )
    for word in words.split()
}
"""The kind of each abbreviation, by its lower-case letters without the last period."""

LONGEST = 10
"""More characters than an abbreviation has, dotted ones such as "J.R.R" included."""

OPENERS = _words(
    "A After All Also Although An And Another As At Because Before Both But By Divide Each Finally First For From"
    " Given Hence He Her Here His How However I If In It Its Let Multiply Next No Now Of On One Or Our Since She So"
    " Some Step Subtract That The Their Then There Therefore These They This Those Thus To Today Together Two"
    " Using We What When Where Which While Who With Yes You Your"
)
"""Words that open a sentence far more often than they are a part of a name."""

LABELED = _words(
    "plan option options answer is choice type vitamin grade group class team point section part case box choose"
    " pick select variable row column line step figure angle side vertex city bus train house player brand model"
    " size gate room store shop company machine bag jar bin tank letter equals"
)
"""Before these a single capital is a label ("option B. Then"), not an initial ("J. Smith")."""

AFTER_TIME = _words(
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August"
    " September October November December EST EDT CST CDT MST PST PDT GMT UTC"
)
"""Capital letters that continue "7 p.m."."""
