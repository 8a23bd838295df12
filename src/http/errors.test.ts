import type { FastifyRequest } from 'fastify'
import { pino } from 'pino'
import { expect, it } from 'vitest'
import { CoreError, type ErrorExtras } from '../core/errors.ts'
import { failureOf } from './errors.ts'

/** What is in the log after a request ended with `error`. */
function logged(error: CoreError): string {
  let lines = ''
  const log = pino({ level: 'info' }, { write: (line: string) => (lines += line) })
  failureOf(error, { log, id: 'a' } as unknown as FastifyRequest)
  return lines
}

const unavailable = (extras?: ErrorExtras) => new CoreError('unavailable', 'Away.', extras)

it('logs what we could not do, with and without a known cause', () => {
  expect(JSON.parse(logged(unavailable()))).toMatchObject({ level: 50, msg: 'Away.' })
  const withCause = logged(unavailable({ cause: new Error('The disk is full.') }))
  expect(JSON.parse(withCause)).toMatchObject({ err: { message: 'The disk is full.' } })
})

it('leaves to others what they tell once for many', () => {
  expect(logged(unavailable({ isToldOnce: true }))).toBe('')
})

it('does not log what a caller did wrong', () => {
  expect(logged(new CoreError('invalid_input', 'The name is too long.'))).toBe('')
})
