import { type Candidate, candidatesIn, type Match, oursIn, REACH } from './matches.ts'
import { createPlace, type Place } from './place.ts'
import { narrowing } from './utf16.ts'

/** A secret, or what may be one, at its place in a text. */
export type Hit = Omit<Match, 'at'> & Place

/** Reads one text in pieces of any size and keeps no more of it than a secret is long. */
export interface Finder {
  /** Takes the next piece, whose memory may be used again afterwards. */
  push(piece: Buffer): void
  /** The text is over. */
  end(): void
}

/** Where the rest of one piece and the next one come together; one for all, as nobody keeps it. */
const joint = Buffer.allocUnsafeSlow((1 << 20) + 2 * REACH)

/** Finds secrets in one text, in order, wherever the borders of its pieces are. */
export function createFinder({
  also = [],
  onHit,
}: {
  also?: readonly Candidate[]
  onHit: (hit: Hit) => void
}): Finder {
  /** What is not judged yet, and one byte before it. */
  let kept: Buffer = Buffer.alloc(0)
  /** The first byte in it that is not judged. */
  let from = 0
  const place = createPlace()

  /** Reports what starts before `until` and keeps the rest. */
  function judge(window: Buffer, until: number): void {
    for (const { at, ...found } of matchesIn(window, until)) {
      place.advance(window, at)
      onHit({ ...found, ...place.now() })
    }
    const keptFrom = Math.max(0, until - 1)
    place.advance(window, keptFrom)
    place.rebase(keptFrom)
    kept = Buffer.from(window.subarray(keptFrom))
    // Perhaps inside of what was just found, whose rest is no secret again.
    from = until - keptFrom
  }

  function matchesIn(window: Buffer, until: number): Match[] {
    const found = oursIn(window, { from, until })
    if (also.length === 0) return found
    return [...found, ...candidatesIn(window, { from, until, also })].sort((a, b) => a.at - b.at)
  }

  const narrow = narrowing((piece) => {
    const window = joined(kept, piece)
    judge(window, Math.max(from, window.length - REACH))
  })
  return {
    push: narrow.push,
    end() {
      narrow.end()
      judge(kept, kept.length)
    },
  }
}

function joined(kept: Buffer, piece: Buffer): Buffer {
  if (kept.length === 0) return piece
  const length = kept.length + piece.length
  if (length > joint.length) return Buffer.concat([kept, piece])
  kept.copy(joint)
  piece.copy(joint, kept.length)
  return joint.subarray(0, length)
}
