import { MintmarkError } from '@mintmark/sdk'
import { visible, widthOf } from './text.ts'

/** A refusal that is about a place in what was typed. */
export class PointedRefusal extends Error {
  readonly refusal: MintmarkError
  /** What was typed, and below it an arrow to the place. */
  readonly picture: string

  constructor(refusal: MintmarkError, picture: string) {
    super(refusal.message, { cause: refusal })
    this.name = 'PointedRefusal'
    this.refusal = refusal
    this.picture = picture
  }
}

/** Makes a call that sends the query `q`; throws a `PointedRefusal` when the server stumbles over it. */
export async function pointing<T>(q: string | undefined, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (cause) {
    throw pointed(cause, q)
  }
}

function pointed(cause: unknown, q: string | undefined): unknown {
  if (!(cause instanceof MintmarkError) || cause.column === undefined || q === undefined)
    return cause
  return new PointedRefusal(cause, pictureOf(q, cause.column))
}

function pictureOf(q: string, column: number): string {
  const before = [...q].slice(0, column - 1).join('')
  return `  ${visible(q)}\n  ${' '.repeat(widthOf(visible(before)))}^`
}
