import type { Git } from './git.ts'

/** An object of git to be read, and what the caller knows about it. */
export interface Wanted<T> {
  oid: string
  about: T
}

/** Takes the content of objects in pieces. */
export interface ObjectReader<T> {
  /** Undefined: the content is not wanted. */
  open(about: T, type: string): { push(piece: Buffer): void; end(): void } | undefined
  missing(about: T): void
}

const NEWLINE = 10

/** Reads objects through one `git cat-file --batch`, in pieces, in the order given. Throws a GitError. */
export async function readObjects<T>(
  git: Git,
  wanted: AsyncIterable<Wanted<T>>,
  reader: ObjectReader<T>,
): Promise<void> {
  const { child, done } = git.talk('cat-file', '--batch', '--buffer')
  /** Asked for and not answered yet; what fits into the pipes, since writing waits for them. */
  const asked: T[] = []
  const parser = createParser(asked, reader)

  async function ask(): Promise<void> {
    try {
      for await (const { oid, about } of wanted) {
        asked.push(about)
        if (!child.stdin.write(`${oid}\n`)) await Promise.race([drained(), done])
      }
    } finally {
      child.stdin.end()
    }
  }
  const drained = () => new Promise<void>((resolve) => child.stdin.once('drain', resolve))

  async function hear(): Promise<void> {
    for await (const piece of child.stdout) parser.push(piece)
  }
  try {
    await Promise.all([ask(), hear(), done])
  } finally {
    child.kill()
  }
}

/** Understands `<oid> <type> <size>\n<content>\n` and `<oid> missing\n`, whatever the pieces are. */
function createParser<T>(asked: T[], reader: ObjectReader<T>) {
  /** Of a header that is not complete. */
  let header: Buffer[] = []
  /** Bytes of content still to come, and the newline after them. */
  let left = 0
  let sink: { push(piece: Buffer): void; end(): void } | undefined

  /** Returns how many bytes it took. */
  function takeHeader(piece: Buffer): number {
    const end = piece.indexOf(NEWLINE)
    header.push(Buffer.from(piece.subarray(0, end < 0 ? piece.length : end)))
    if (end < 0) return piece.length
    const [, type = '', size] = Buffer.concat(header).toString('latin1').split(' ')
    header = []
    const about = asked.shift() as T
    if (size === undefined) reader.missing(about)
    else {
      sink = reader.open(about, type)
      left = Number(size) + 1
    }
    return end + 1
  }

  function takeContent(piece: Buffer): number {
    const taken = Math.min(left, piece.length)
    const content = Math.min(left - 1, piece.length)
    if (content > 0) sink?.push(piece.subarray(0, content))
    left -= taken
    if (left === 0) sink?.end()
    return taken
  }

  return {
    push(piece: Buffer): void {
      let at = 0
      while (at < piece.length) {
        const rest = piece.subarray(at)
        at += left === 0 ? takeHeader(rest) : takeContent(rest)
      }
    },
  }
}
