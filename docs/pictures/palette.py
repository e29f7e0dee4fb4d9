"""Makes a PNG of a browser small: an indexed image (PNG specification, third edition) with the 256 most frequent colors.

Pages have few colors beside the shades at the edges of letters, so the difference cannot be seen.
"""

import struct
import zlib
from collections import Counter

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunks(png):
    """Types and contents of the chunks."""
    position = len(SIGNATURE)
    while position < len(png):
        length, kind = struct.unpack(">I4s", png[position:position + 8])
        yield kind, png[position + 8:position + 8 + length]
        position += length + 12


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def paeth(left, above, corner):
    """The predictor of filter 4: the neighbor that is nearest to left + above - corner."""
    to_left, to_above, to_corner = abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)
    if to_left <= to_above and to_left <= to_corner:
        return left
    return above if to_above <= to_corner else corner


def unfiltered(data, stride, step):
    """The rows of pixels, from the rows with their filters."""
    rows, above = [], bytes(stride)
    for start in range(0, len(data), stride + 1):
        kind, row = data[start], bytearray(data[start + 1:start + 1 + stride])
        if kind == 2:
            row = bytearray((byte + up) & 255 for byte, up in zip(row, above))
        elif kind:
            for i in range(stride):
                left, corner = (row[i - step], above[i - step]) if i >= step else (0, 0)
                if kind == 1:
                    predicted = left
                elif kind == 3:
                    predicted = (left + above[i]) // 2
                else:
                    predicted = paeth(left, above[i], corner)
                row[i] = (row[i] + predicted) & 255
        rows.append(bytes(row))
        above = row
    return rows


def indexed(png):
    """The same picture with a palette. `png` has 8 bits for each of red, green and blue, and no interlacing."""
    parts = list(chunks(png))
    width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", parts[0][1])
    if (depth, color, interlaced) != (8, 2, 0):
        return png
    data = zlib.decompress(b"".join(content for kind, content in parts if kind == b"IDAT"))
    rows = [[row[i:i + 3] for i in range(0, 3 * width, 3)] for row in unfiltered(data, 3 * width, 3)]
    frequent = [pixel for pixel, _ in Counter(pixel for row in rows for pixel in row).most_common()]
    palette = frequent[:256]
    index = {pixel: number for number, pixel in enumerate(palette)}
    for pixel in frequent[256:]:
        index[pixel] = min(range(256), key=lambda number: sum((a - b) ** 2 for a, b in zip(palette[number], pixel)))
    body = b"".join(b"\0" + bytes(index[pixel] for pixel in row) for row in rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    pieces = ((b"IHDR", header), (b"PLTE", b"".join(palette)), (b"IDAT", zlib.compress(body, 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(chunk(kind, content) for kind, content in pieces)
