import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Core } from '../../core/core.ts'
import type { Writes } from '../../core/writes.ts'
import { callerOf } from '../auth.ts'

/** Of every route whose answer has a secret in it. */
export const onceHeaders = Type.Object({
  'idempotency-key': Type.Optional(
    Type.String({
      description:
        'Repeating it within a day gives the first answer again; 8 to 255 visible ASCII characters',
    }),
  ),
})

/**
 * Does `work` once per Idempotency-Key, and marks an answer that is given again. `asked` tells one
 * request from another. What `work` returns goes through JSON, so a secret in it must be text.
 */
export async function doOnce<T>(
  core: Core,
  { request, reply, asked }: { request: FastifyRequest; reply: FastifyReply; asked: unknown },
  work: (w: Writes) => Promise<T>,
): Promise<T> {
  const key = request.headers['idempotency-key']
  const { value, replayed } = await core.writeOnce(
    {
      caller: callerOf(request),
      key: typeof key === 'string' ? key : undefined,
      request: asked,
    },
    work,
  )
  if (replayed) reply.header('idempotency-replayed', 'true')
  return value
}
