import type { ConnectionOptions } from 'node:tls'
import type { Certificate } from './certificates.ts'

/** How https targets are spoken to. Asked for each connection: certificates may change. */
export interface TargetTls {
  options(): Pick<ConnectionOptions, 'secureContext' | 'rejectUnauthorized'>
}

/** With our certificate and trust; `insecure` takes any certificate of a target. */
export function targetTls(certificate: Certificate, insecure: boolean): TargetTls {
  return {
    options: () => ({ secureContext: certificate.context, rejectUnauthorized: !insecure }),
  }
}
