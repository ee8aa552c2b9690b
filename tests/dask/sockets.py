"""Where processes listen, read from the system."""

import ipaddress

import psutil


def listening(*roots: int) -> set[tuple[str, int]]:
    """Return the addresses and ports on which processes and all that they started listen."""
    found = set()
    for root in roots:
        process = psutil.Process(root)
        for one in [process, *process.children(recursive=True)]:
            try:
                sockets = one.net_connections("inet")
            except psutil.Error:
                continue
            found |= {(s.laddr.ip, s.laddr.port) for s in sockets if s.status == psutil.CONN_LISTEN}
    return found


def beyond_loopback(found: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """Return those that another machine could reach."""
    return {(host, port) for host, port in found if not ipaddress.ip_address(host).is_loopback}
