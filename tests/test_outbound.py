"""The safe fetcher: which addresses it goes to, and that no name or redirect leads elsewhere."""

from __future__ import annotations

import pytest

from understudy.clock import ManualClock
from understudy.errors import AddressRefused
from understudy.outbound import Fetcher, refusal

REFUSED = [
    # This machine, in all spellings that a resolver may answer with.
    "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.1.2.3", "127.255.255.255", "::", "::1",
    # Private networks and links.
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "192.168.255.255", "169.254.0.1", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1",
    "fc00::1", "fd00::1", "fdff:ffff::1",
    # Clouds: metadata and their own services.
    "169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16",
    "fd00:ec2::254", "100.64.0.1", "100.127.255.255",
    # Reserved, for examples, measurements, the future.
    "192.0.0.1", "192.0.0.170", "192.0.2.1", "198.51.100.7", "203.0.113.9", "192.88.99.1",
    "192.31.196.1", "192.52.193.1", "192.175.48.1", "198.18.0.1", "198.19.255.255",
    "240.0.0.1", "255.255.255.255", "2001:db8::1", "3fff::1", "5f00::1", "100::1",
    "100:0:0:1::1", "2001:2::1", "2001:10::1", "2001:20::1", "3ffe::1", "4000::1", "::2",
    "2620:4f:8000::1",
    # Many machines at once.
    "224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1",
    # IPv4 inside IPv6: mapped, compatible, translated, 6to4, Teredo, NAT64, ISATAP.
    "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:169.254.169.254", "::127.0.0.1", "::7f00:1",
    "::ffff:0:127.0.0.1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:0:53aa:64c::1",
    "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::7f00:1",
    "2a00:1450::5efe:7f00:1", "2a00:1450::200:5efe:a00:1",
    # No address at all.
    "", "localhost", "127.1", "2130706433", "0x7f.1", "127.0.0.1\n",
]  # fmt: skip

ALLOWED = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1",
    "126.255.255.255", "128.0.0.1", "168.63.129.15", "169.253.255.255", "169.255.0.1",
    "172.15.255.255", "172.32.0.1", "192.0.1.1", "192.167.255.255", "192.169.0.1",
    "198.17.255.255", "198.20.0.1", "223.255.255.255", "2606:4700:4700::1111",
    "2001:4860:4860::8888", "2a00:1450:4001:81b::200e", "2003::1", "2620:fe::fe",
]  # fmt: skip


def test_the_table_is_long_enough() -> None:
    """At least 60 addresses that must not be reached are tried."""
    assert len(set(REFUSED)) >= 60


@pytest.mark.parametrize("address", REFUSED)
def test_refused_addresses(address: str) -> None:
    """No customer's URL reaches this machine, its network, its cloud, or what hides them."""
    assert refusal(address) is not None


@pytest.mark.parametrize("address", ALLOWED)
def test_allowed_addresses(address: str) -> None:
    """What is public is reached, up to the edges of what is not."""
    assert refusal(address) is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.com/a", "http:// or https://"),
        ("file:///etc/passwd", "http:// or https://"),
        ("gopher://example.com", "http:// or https://"),
        ("javascript:alert(1)", "http:// or https://"),
        ("//example.com/a", "http:// or https://"),
        ("example.com/a", "http:// or https://"),
        ("", "http:// or https://"),
        ("http://", "names a server"),
        ("http:///a", "names a server"),
        ("http://user@example.com/", "user and password"),
        ("http://user:word@example.com/", "user and password"),
        ("http://:word@example.com/", "user and password"),
        ("http://example.com:22/", "port 22"),
        ("https://example.com:8080/", "port 8080"),
        ("http://example.com:99999/", "no port 99999"),
        ("http://example.com:0/", "no port 0"),
        ("http://example.com:x/", "no URL"),
        ("http://127.0.0.1/", "this machine"),
        ("http://[::1]/", "not on the public network"),
        ("http://[::ffff:127.0.0.1]/", "not on the public network"),
        ("http://[fe80::1%25eth0]/", "not on the public network"),
        ("http://169.254.169.254/latest/meta-data/", "local link"),
        ("http://127.1/", "written in full"),
        ("http://2130706433/", "written in full"),
        ("http://0x7f000001/", "written in full"),
        ("http://0x7f.0.0.0x1/", "written in full"),
        ("http://017700000001/", "written in full"),
        ("http://0/", "written in full"),
        ("http://127.0.0.1./", "written in full"),
        ("http://example.com%00.evil.com/", "is none"),
        ("http://exa mple.com/", "is none"),
        ("http://example.com\\@evil.com/", "user and password|is none"),
        ("http://exa\r\nmple.com/", "no URL"),
        ("http://\uff11\uff12\uff17.0.0.1/", "no URL"),
        ("http://-.example..com/", "no URL|is none"),
        ("http://example.com/" + "a" * 2048, "2048 characters"),
        ("http://\ud800.com/", "no URL"),
    ],
)
def test_urls_that_are_refused_without_asking(url: str, said: str) -> None:
    """What a URL itself shows to be wrong is refused before any name is looked up."""
    with pytest.raises(AddressRefused, match=said):
        Fetcher(ManualClock()).check(url)


def test_urls_that_are_asked_for() -> None:
    """A public URL passes, in the one spelling that is then used; a fragment is ours to drop."""
    fetcher = Fetcher(ManualClock())
    assert fetcher.check("HTTPS://Example.com:443/a?b=1#c") == "https://example.com/a?b=1"
    assert fetcher.check("http://bücher.example/") == "http://xn--bcher-kva.example/"
    assert fetcher.check("http://8.8.8.8/") == "http://8.8.8.8/"


def test_webhooks_are_told_by_https() -> None:
    """What is signed and sent is also hidden on its way, unless in development."""
    with pytest.raises(AddressRefused, match="begins with https"):
        Fetcher(ManualClock()).check("http://example.com/", secure=True)
    loose = Fetcher(ManualClock(), private_addresses=True)
    assert loose.check("http://127.0.0.1:8000/a", secure=True) == "http://127.0.0.1:8000/a"
