"""Numbers of as many bytes as they need, seven bits each, as protobuf and Kafka's records have them."""


def varint(number: int) -> bytes:
    """A number that is not negative."""
    found = bytearray()
    while number >= 128:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def zigzag(number: int) -> bytes:
    """A number of 64 bits that may be negative: small ones of either sign are short."""
    return varint(number << 1 ^ number >> 63)


def read_zigzag(data: bytes, at: int) -> tuple[int, int]:
    """The number that stands at ``at``, and where it ends; raises IndexError at the end of the bytes."""
    found = shift = 0
    while (byte := data[at]) >= 128:
        found |= (byte & 127) << shift
        shift += 7
        at += 1
    found |= byte << shift
    return found >> 1 ^ -(found & 1), at + 1
