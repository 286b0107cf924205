"""Where a number is at home, as far as its digits tell: `US-WA`, `CA`, `GB`.

A mobile number keeps its area code when its owner moves; nobody can tell that from the number.
"""

from functools import cache

from dispatcher.domain.phone import country_prefix

# Area codes of the North American Numbering Plan (https://www.nanpa.com, as of 2026). Codes of no place, like those of
# toll-free numbers, and codes that came later, count as the United States.
_AREA_CODES = {
    "US-AK": "907",
    "US-AL": "205 251 256 334 659 938",
    "US-AR": "327 479 501 870",
    "US-AS": "684",
    "US-AZ": "480 520 602 623 928",
    "US-CA": (
        "209 213 279 323 341 350 369 408 415 424 442 510 530 559 562 619 626 628 650 657 661 669 707 714 738 "
        "747 760 805 818 820 831 840 858 909 916 925 949 951"
    ),
    "US-CO": "303 719 720 748 970 983",
    "US-CT": "203 475 860 959",
    "US-DC": "202 771",
    "US-DE": "302",
    "US-FL": "239 305 321 324 352 386 407 448 561 645 656 689 727 728 754 772 786 813 850 863 904 941 954",
    "US-GA": "229 404 470 478 678 706 762 770 912 943",
    "US-GU": "671",
    "US-HI": "808",
    "US-IA": "319 515 563 641 712",
    "US-ID": "208 986",
    "US-IL": "217 224 309 312 331 447 464 618 630 708 730 773 779 815 847 872",
    "US-IN": "219 260 317 463 574 765 812 930",
    "US-KS": "316 620 785 913",
    "US-KY": "270 364 502 606 859",
    "US-LA": "225 318 337 504 985",
    "US-MA": "339 351 413 508 617 774 781 857 978",
    "US-MD": "227 240 301 410 443 667",
    "US-ME": "207",
    "US-MI": "231 248 269 313 517 586 616 734 810 906 947 989",
    "US-MN": "218 320 507 612 651 763 952",
    "US-MO": "235 314 417 557 573 636 660 816 975",
    "US-MP": "670",
    "US-MS": "228 601 662 769",
    "US-MT": "406",
    "US-NC": "252 336 472 704 743 828 910 919 980 984",
    "US-ND": "701",
    "US-NE": "308 402 531",
    "US-NH": "603",
    "US-NJ": "201 551 609 640 732 848 856 862 908 973",
    "US-NM": "505 575",
    "US-NV": "702 725 775",
    "US-NY": "212 315 329 332 347 363 516 518 585 607 631 646 680 716 718 838 845 914 917 929 934",
    "US-OH": "216 220 234 283 326 330 380 419 440 513 567 614 740 937",
    "US-OK": "405 539 572 580 918",
    "US-OR": "458 503 541 971",
    "US-PA": "215 223 267 272 412 445 484 570 582 610 717 724 814 835 878",
    "US-PR": "787 939",
    "US-RI": "401",
    "US-SC": "803 821 839 843 854 864",
    "US-SD": "605",
    "US-TN": "423 615 629 731 865 901 931",
    "US-TX": (
        "210 214 254 281 325 346 361 409 430 432 469 512 682 713 726 737 806 817 830 832 903 915 936 940 945 "
        "956 972 979"
    ),
    "US-UT": "385 435 801",
    "US-VA": "276 434 540 571 686 703 757 804 826 948",
    "US-VI": "340",
    "US-VT": "802",
    "US-WA": "206 253 360 425 509 564",
    "US-WI": "262 274 353 414 534 608 715 920",
    "US-WV": "304 681",
    "US-WY": "307",
    "AG": "268",
    "AI": "264",
    "BB": "246",
    "BM": "441",
    "BS": "242",
    "CA": (
        "204 226 236 249 250 257 263 273 289 306 343 354 365 367 368 382 403 416 418 428 431 437 438 450 468 "
        "474 506 514 519 548 579 581 584 587 604 613 639 647 672 683 705 709 742 753 778 780 782 807 819 825 "
        "867 873 879 902 905 942"
    ),
    "DM": "767",
    "DO": "809 829 849",
    "GD": "473",
    "JM": "658 876",
    "KN": "869",
    "KY": "345",
    "LC": "758",
    "MS": "664",
    "SX": "721",
    "TC": "649",
    "TT": "868",
    "VC": "784",
    "VG": "284",
}
_PLACE_OF = {code: place for place, codes in _AREA_CODES.items() for code in codes.split()}
_KAZAKHSTAN = ("+76", "+77")


def place_of(number: str) -> str:
    """Return the country of an E.164 *number* as its ISO code, in the United States with the state."""
    if number.startswith("+1"):
        return _PLACE_OF.get(number[2:5], "US")
    if number.startswith(_KAZAKHSTAN):
        return "KZ"
    return _main_country(country_prefix(number))


def country_of(place: str) -> str:
    """Return the country of a *place*: of `US-WA` it is `US`."""
    return place[:2]


def is_place(code: str) -> bool:
    """Say whether `place_of` may return *code*, or the country of what it may return."""
    return code in _AREA_CODES or code == "US" or code in _main_countries().values()


def main_country(country: str) -> str:
    """Return the country that numbers of *country* (an ISO code) count to: that of Guernsey is `GB`."""
    if is_place(country):
        return country
    import phonenumbers  # noqa: PLC0415 - loads for 0.1 s, and most configs name no countries

    return _main_country(f"+{phonenumbers.country_code_for_region(country)}")


def _main_country(prefix: str) -> str:
    return _main_countries().get(prefix, "001")  # as ISO and Google call numbers of no country


@cache
def _main_countries() -> dict[str, str]:
    import phonenumbers  # noqa: PLC0415 - as above

    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    return {f"+{code}": countries[0] for code, countries in regions.items()} | {"+76": "KZ"}
