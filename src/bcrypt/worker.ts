import { parentPort } from 'node:worker_threads'
import bcrypt from 'bcryptjs'

parentPort?.on('message', ({ id, secret, hash }: { id: number; secret: string; hash: string }) => {
  parentPort?.postMessage({ id, matches: bcrypt.compareSync(secret, hash) })
})
