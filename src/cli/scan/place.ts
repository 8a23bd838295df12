const NEWLINE = 10
/** The same bits in each of the four bytes of a word. */
const ONES = 0x01010101
const LOWER_SEVEN = 0x7f7f7f7f
const NEWLINES = 0x0a0a0a0a
/** So many times may 1 be added to a byte of a word before it overflows. */
const MOST_SUMS = 255

/** A line and a column, both from 1; columns are Unicode code points. */
export interface Place {
  line: number
  column: number
}

/** Knows the place of a byte in a text that is seen through a window which moves on. */
export function createPlace() {
  let counted = 0
  let line = 1
  let column = 1

  return {
    now: (): Place => ({ line, column }),

    /** Goes to byte `to` of the window. */
    advance(window: Buffer, to: number): void {
      if (to <= counted) return
      const lines = newlinesIn(window, counted, to)
      if (lines === 0) column += codePointsIn(window, counted, to)
      else column = 1 + codePointsIn(window, window.lastIndexOf(NEWLINE, to - 1) + 1, to)
      line += lines
      counted = to
    },

    /** The window will start at what is byte `start` now. */
    rebase(start: number): void {
      counted -= start
    },
  }
}

/** How many lines end in these bytes. Four at a time, because every byte of every file is counted. */
export function newlinesIn(bytes: Buffer, from: number, to: number): number {
  const { head, words, tail } = inWords(bytes, from, to)
  let count = 0
  for (let i = from; i < head; i++) if (bytes[i] === NEWLINE) count++
  for (let i = 0; i < words.length; ) {
    let sums = 0
    for (const end = Math.min(i + MOST_SUMS, words.length); i < end; i++) {
      const other = (words[i] ?? 0) ^ NEWLINES
      // The top bit of each byte that is 0: exact, because no sum carries into the next byte.
      const zeros = ~(((other & LOWER_SEVEN) + LOWER_SEVEN) | other)
      sums += (zeros >>> 7) & ONES
    }
    count += sumOfBytes(sums)
  }
  for (let i = tail; i < to; i++) if (bytes[i] === NEWLINE) count++
  return count
}

/** How many code points start in these bytes of UTF-8: all but the continuing ones, 10xxxxxx. */
export function codePointsIn(bytes: Buffer, from: number, to: number): number {
  const { head, words, tail } = inWords(bytes, from, to)
  let continuing = 0
  for (let i = from; i < head; i++) if (((bytes[i] ?? 0) & 0xc0) === 0x80) continuing++
  for (let i = 0; i < words.length; ) {
    let sums = 0
    for (const end = Math.min(i + MOST_SUMS, words.length); i < end; i++) {
      const word = words[i] ?? 0
      sums += (word >>> 7) & ~(word >>> 6) & ONES
    }
    continuing += sumOfBytes(sums)
  }
  for (let i = tail; i < to; i++) if (((bytes[i] ?? 0) & 0xc0) === 0x80) continuing++
  return to - from - continuing
}

/** The whole words between `head` and `tail`, where memory is aligned. */
function inWords(bytes: Buffer, from: number, to: number) {
  const { buffer, byteOffset } = bytes
  const head = Math.min(to, from + (-(byteOffset + from) & 3))
  const length = (to - head) >> 2
  const words = new Int32Array(buffer, length === 0 ? 0 : byteOffset + head, length)
  return { head, words, tail: head + length * 4 }
}

function sumOfBytes(word: number): number {
  return (word & 0xff) + ((word >>> 8) & 0xff) + ((word >>> 16) & 0xff) + (word >>> 24)
}
