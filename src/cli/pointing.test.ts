import { MintmarkError } from '@mintmark/sdk'
import { expect, it } from 'vitest'
import { failureOf } from './failure.ts'
import { pointing } from './pointing.ts'

const refusal = (column?: number) =>
  new MintmarkError({ status: 400, code: 'invalid_input', detail: 'column 3: no.', column })

async function pictureOf(q: string | undefined, error: Error): Promise<string | undefined> {
  try {
    return await pointing(q, () => Promise.reject(error))
  } catch (cause) {
    return failureOf(cause).picture
  }
}

it('points at the column of the query, also behind wide and invisible characters', async () => {
  expect(await pictureOf('ab dead', refusal(4))).toBe('  ab dead\n     ^')
  expect(await pictureOf('日 x', refusal(3))).toBe('  日 x\n     ^')
  expect(await pictureOf('\u202e x', refusal(3))).toBe('  \\u{202e} x\n           ^')
})

it('leaves other errors as they are', async () => {
  expect(await pictureOf('ab', refusal())).toBeUndefined()
  expect(await pictureOf(undefined, refusal(1))).toBeUndefined()
  expect(await pictureOf('ab', new Error('x'))).toBeUndefined()
})
