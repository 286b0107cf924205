"""Opens the HTTP session that all requests to Twilio share."""

import aiohttp

# Below what servers and load balancers keep open: a POST on a connection that was just closed is in doubt.
KEEP_ALIVE = 15.0
CONNECT_TIMEOUT = 5.0


def make_session(request_timeout: float) -> aiohttp.ClientSession:
    """Return a session whose requests may wait *request_timeout* seconds for bytes of an answer.

    The number of connections is not limited here: the accounts' concurrency limits it.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE, ttl_dns_cache=30),
        cookie_jar=aiohttp.DummyCookieJar(),
        # A total time-out would cost a timer for each request; connecting and each read are bounded.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=request_timeout),
        auto_decompress=False,
    )
