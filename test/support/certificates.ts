import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** PEM files. */
export interface KeyPair {
  readonly key: string
  readonly cert: string
}

/** A certificate authority in a folder, made by openssl. */
export interface Authority {
  /** The file with its certificate. */
  readonly ca: string
  /** For 127.0.0.1 and localhost. `passphrase` encrypts the key. */
  issue(name: string, options?: { readonly days?: number; readonly passphrase?: string }): KeyPair
}

export function testAuthority(folder: string, name = 'ca'): Authority {
  const ca = join(folder, `${name}.crt`)
  const caKey = join(folder, `${name}.key`)
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']
  openssl(
    'req',
    '-x509',
    ...curve,
    '-nodes',
    '-days',
    '9',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    caKey,
    '-out',
    ca,
  )
  return {
    ca,
    issue: (pair, { days = 5, passphrase } = {}) => {
      const [key, request, cert] = ['key', 'csr', 'crt'].map((end) =>
        join(folder, `${pair}.${end}`),
      )
      const encryption = passphrase === undefined ? ['-nodes'] : ['-passout', `pass:${passphrase}`]
      openssl(
        'req',
        ...curve,
        ...encryption,
        '-subj',
        `/CN=${pair}`,
        '-keyout',
        `${key}`,
        '-out',
        `${request}`,
      )
      const extensions = join(folder, `${pair}.ext`)
      writeFileSync(extensions, 'subjectAltName=IP:127.0.0.1,DNS:localhost\n')
      const signed = ['-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-days', String(days)]
      openssl(
        'x509',
        '-req',
        '-in',
        `${request}`,
        ...signed,
        '-extfile',
        extensions,
        '-out',
        `${cert}`,
      )
      return { key: `${key}`, cert: `${cert}` }
    },
  }
}

function openssl(...args: string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
