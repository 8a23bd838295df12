/** A code unit that no ASCII text has: counts as a character and ends every match. */
const FOREIGN = 0xff
/** The second half of a surrogate pair: a continuing byte, so that the pair counts once. */
const CONTINUING = 0x80

/**
 * Passes text on byte by byte as it is, but UTF-16 with a byte order mark, which Windows shells write
 * when they redirect, as one byte per code unit: ASCII stays, everything else becomes `FOREIGN`.
 */
export function narrowing(pass: (piece: Buffer) => void) {
  /** Undefined until two bytes have been seen. */
  let order: 'bytes' | 'little' | 'big' | undefined
  let odd: Buffer = Buffer.alloc(0)

  function push(piece: Buffer): void {
    if (order === 'bytes') {
      pass(piece)
      return
    }
    const bytes = odd.length === 0 ? piece : Buffer.concat([odd, piece])
    if (bytes.length < 2) {
      odd = Buffer.from(bytes)
      return
    }
    order ??= orderOf(bytes)
    if (order === 'bytes') {
      odd = Buffer.alloc(0)
      pass(bytes)
      return
    }
    const even = bytes.length - (bytes.length % 2)
    odd = Buffer.from(bytes.subarray(even))
    pass(narrowed(bytes.subarray(0, even), order === 'little'))
  }

  return {
    push,
    end(): void {
      if (odd.length > 0) pass(odd)
    },
  }
}

function orderOf(bytes: Buffer): 'bytes' | 'little' | 'big' {
  const mark = bytes.readUInt16BE(0)
  if (mark === 0xfffe) return 'little'
  return mark === 0xfeff ? 'big' : 'bytes'
}

function narrowed(bytes: Buffer, isLittle: boolean): Buffer {
  const units = Buffer.allocUnsafe(bytes.length / 2)
  const lowAt = isLittle ? 0 : 1
  for (let i = 0; i < units.length; i++) {
    const low = bytes[2 * i + lowAt] ?? 0
    const high = bytes[2 * i + 1 - lowAt] ?? 0
    if (high === 0 && low < 0x80) units[i] = low
    else units[i] = (high & 0xfc) === 0xdc ? CONTINUING : FOREIGN
  }
  return units
}
