// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the API server lets Onlooker look at, found by asking for one object of each kind.
//!
//! In: how the cluster is to be asked. Out: an answer for each kind, for `onlooker doctor`.
//! Does not: keep what it is given.

use std::io;

use serde::de::IgnoredAny;
use tokio::runtime::Builder;

use super::{
    access::{Access, AccessError},
    client::{Client, ClusterError},
    object::Object,
    pod::Pod,
    service::Service,
    slice::Slice,
};
use crate::config::KubernetesConfig;

/// Why nothing could be asked.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("no thread can wait for the answer: {0}")]
    Runtime(#[from] io::Error),
}

#[derive(Debug)]
pub struct Survey {
    pub server: String,
    pub pods: Result<(), ClusterError>,
    pub services: Result<(), ClusterError>,
    pub slices: Result<(), ClusterError>,
}

impl Survey {
    /// Nothing where no cluster is there to be asked. Waits for the answers.
    ///
    /// # Errors
    /// Where what it takes to ask is not there.
    pub fn take(config: &KubernetesConfig) -> Result<Option<Self>, SurveyError> {
        let Some(access) = Access::find(config)? else { return Ok(None) };
        let client = Client::new(&access)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (pods, services, slices) = runtime
            .block_on(async { tokio::join!(ask::<Pod>(&client), ask::<Service>(&client), ask::<Slice>(&client)) });
        Ok(Some(Self { server: access.server, pods, services, slices }))
    }
}

async fn ask<O: Object>(client: &Client) -> Result<(), ClusterError> {
    client.get::<IgnoredAny>(&format!("{}?limit=1", O::PATH)).await.map(drop)
}
