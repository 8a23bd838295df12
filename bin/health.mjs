#!/usr/bin/env node
// Asks the server of the same container whether it is ready, and ends with status 0 or 1. Plain
// JavaScript without the command line, because it runs every few seconds.
import { get as getHttp } from 'node:http'
import { get as getHttps } from 'node:https'
import { isIPv6 } from 'node:net'

const { env } = process
const isTls = (env.MINTMARK_TLS_CERT ?? env.MINTMARK_TLS_CERT_FILE) !== undefined
const listens = env.MINTMARK_HOST ?? '127.0.0.1'
const named = ['0.0.0.0', '::'].includes(listens) ? '127.0.0.1' : listens
const host = isIPv6(named) ? `[${named}]` : named
const url = `${isTls ? 'https' : 'http'}://${host}:${env.MINTMARK_PORT ?? '8080'}/health/ready`

const fail = (reason) => {
  console.error(reason)
  process.exit(1)
}
// The certificate names the host that clients use, and nobody else answers within the container.
const options = { timeout: 3000, rejectUnauthorized: false }
const get = isTls ? getHttps : getHttp
get(url, options, ({ statusCode }) => {
  if (statusCode === 200) process.exit(0)
  fail(`${url} answered ${statusCode}.`)
})
  .on('timeout', () => fail(`${url} did not answer in time.`))
  .on('error', ({ message }) => fail(`${url} does not answer: ${message}`))
